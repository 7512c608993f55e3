//! Thousands of scenarios whose every event is checked, and what the policies make of some that
//! are telling. The figures are printed, for those who tune a policy (`-- --nocapture`).

mod machines;
mod overhead;
mod queueing_theory;
mod random_scenarios;
mod predictive;
mod changes;
mod against_fixed;
mod clipper;
mod priorities;
