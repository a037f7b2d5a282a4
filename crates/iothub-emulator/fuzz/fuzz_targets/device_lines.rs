//! `iothub_emulator::fuzzing::device_lines`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(device_lines);
