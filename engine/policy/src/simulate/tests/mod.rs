//! Thousands of scenarios whose every event is checked, and what the policies make of some that
//! are telling.

mod machines;
mod random_scenarios;
mod tables;
