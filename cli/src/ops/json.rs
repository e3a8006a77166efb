//! Owns the JSON of the operator's commands: the store's own replies, with instants that programs can read.

use serde::Serialize;

/// Prints one object on standard output.
pub(super) fn print(reply: &impl Serialize) -> Result<(), String> {
    println!("{}", tourbillon_web::readable(serde_json::to_value(reply).map_err(|error| error.to_string())?));
    Ok(())
}
