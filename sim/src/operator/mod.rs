//! The certificate operator: fifteen periodic loops on several replicas, twice. *Naive*: as the reference documents
//! them, each on every replica, with a guard per process and nothing else. *Hardened*: each in the mode that it should
//! have. Both have the same tables, the same outside and the same judges.
//!
//! A model for workloads of one's own: `tables` is what the SQL would be, `outside` who is on the other end,
//! `naive` and `hardened` the application, `judge` what must hold, `workload` and `table` how it is run.

pub mod config;
mod desk;
mod hardened;
pub mod judge;
pub mod loops;
mod naive;
mod outside;
mod table;
mod tables;
mod workload;

pub use table::{OperatorWorkload, world};
pub(crate) use workload::leases;
pub use workload::{SETTLE_WITHIN, Variant, app, facts, receivers, settings, tables as application};
