//! The HA truth table, computed: rows are loops or jobs, columns are classes of faults, a cell is the bound that is
//! promised, the worst that was seen over seeds, and the seed that shows it.
//!
//! A *workload* says what runs and what its rows promise, and reads what happened from the history. The table aims
//! faults at each row, runs the workload, counts how often a fault really fired inside the window that matters, and
//! judges. It knows no row by name, and a workload judges nothing.

mod class;
mod workload;

pub use class::{Facet, FaultClass, Window};
pub use workload::{Cell, Claim, Documented, Promise, Reading, Row, Trial, Workload};
