"""Broker and coordinator as one program in the foreground: `hum up`."""
