"""Client of codriver agent servers: stubs, tensor codecs, remote policies, Gymnasium bridges."""
