//! `iothub_emulator::fuzzing::management`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(management);
