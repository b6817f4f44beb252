"""The gateway: a network of boards looks like one server, and the server is trusted with nothing.

Results come by broker.client with the result keys of the groups that it serves. It has no key of
the coordinator's, and opens no database but its own.
"""
