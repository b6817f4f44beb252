"""`python -m tests.toy_protocol.coordinator` is the `hum` command with one more protocol."""

from broker.cli.main import main
from broker.coordinator.protocols import registry
from tests.toy_protocol.coordinator.declaration import TOY

if __name__ == "__main__":
    registry.register(TOY)
    main()
