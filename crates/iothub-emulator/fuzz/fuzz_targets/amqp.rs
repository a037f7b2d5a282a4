//! `iothub_emulator::fuzzing::amqp`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(amqp);
