"""What `hum doctor` looks at. Each check does what the deployment does and sees whether it works:
connect, log in, read the certificate, write a file."""
