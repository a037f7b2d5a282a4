//! A local Azure IoT hub in one process that speaks the real protocols, for tests and laptops.
