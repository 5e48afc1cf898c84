"""The gRPC services, thin over the desk and the registry."""
