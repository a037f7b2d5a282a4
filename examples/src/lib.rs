//! What every example needs: a hub to talk to, the embedded emulator or a real one.
