//! `iothub_emulator::fuzzing::amqp_performatives`.
#![cfg_attr(fuzzing, no_main)]

iothub_emulator_fuzz::target!(amqp_performatives);
