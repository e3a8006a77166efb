//! A run as a picture: who held what, when, by which clock, and where a guarantee broke. Read from the history and the
//! findings alone, by pure functions; knows no world, no store, no terminal and no browser.
//!
//! [`Timeline::of`] makes the model. [`Timeline::html`] draws it as one page that needs nothing from the network,
//! [`Timeline::text`] as a few lines for a log.

mod bar;
mod build;
mod clock;
mod label;
mod model;
mod page;
mod subject;
#[cfg(test)]
mod tests;
mod text;

pub use clock::Reading;
pub use model::{Bar, BarKind, Lane, Mark, Point, PointKind, Timeline};
