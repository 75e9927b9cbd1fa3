//! The machine against a model of MariaDB, of the store and of everything that can befall them.

mod db;
mod exhaustive;
mod faults;
mod mutants;
mod plots;
mod seeded;
mod store;
mod world;
