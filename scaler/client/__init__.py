"""What a program uses: Client, ScalerFuture, Serializer."""
