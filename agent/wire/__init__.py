"""The messages that cross the broker: deterministic CBOR, COSE envelopes, message types and the
topic tree (docs/protocol/sums.md)."""
