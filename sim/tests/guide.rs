//! The template of the guide, as it is to be copied: it compiles, and its simulation holds.

#[path = "../../docs/guide/template.rs"]
mod template;
