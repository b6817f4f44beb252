"""The commands of a deployment's folder, a module each."""
