//! Owns how replies of the store become JSON that programs of any kind can read.

use serde_json::Value;
use tourbillon::model::Timestamp;

/// Members that are instants although their names do not end in `_at`.
const INSTANTS: [&str; 8] = ["already", "at", "now", "after", "resumed", "through", "high_water", "newest_slot"];

/// The same reply, with every instant in RFC 3339, in UTC, instead of microseconds since 1970.
///
/// ```
/// use serde_json::json;
/// let reply = json!({ "now": 0, "rows": [{ "due_at": 1_500_000, "attempt": 3 }] });
/// let readable = tourbillon_web::readable(reply);
/// assert_eq!(readable["rows"][0]["due_at"], "1970-01-01T00:00:01.5Z");
/// ```
pub fn readable(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(readable).collect(),
        Value::Object(members) => {
            let member = |(name, value): (String, Value)| {
                let is_instant = name.ends_with("_at") || INSTANTS.contains(&name.as_str());
                let value = match value.as_i64().filter(|_| is_instant) {
                    Some(micros) => Timestamp::from_micros(micros).to_string().into(),
                    None => readable(value),
                };
                (name, value)
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn instants_are_written_for_programs_of_any_kind() {
        let reply = json!({"now": 0, "rows": [{"due_at": 1_500_000, "attempt": 3, "slot_at": null}]});
        let expected = json!({"now": "1970-01-01T00:00:00Z",
            "rows": [{"due_at": "1970-01-01T00:00:01.5Z", "attempt": 3, "slot_at": null}]});
        assert_eq!(readable(reply), expected);
    }
}
