//! The certificate operator, loop by loop: what is documented of the naive one against what it does, each with the
//! smallest fault that shows it; and that the hardened one holds under the very same fault.

mod certificates;
mod guards;
mod messages;
mod scans;
mod scenario;
mod upkeep;
mod world;
