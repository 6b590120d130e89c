"""Operations that make new training images, and which of them keep a task's labels true."""
