"""Files of every kind that iosfast reads, broken in every way: frames or one ReadError."""
