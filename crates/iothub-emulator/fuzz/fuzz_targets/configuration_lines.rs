//! `iothub_emulator::fuzzing::configuration_lines`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(configuration_lines);
