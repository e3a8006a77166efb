//! Owns how Postgres is asked for the plan of a statement of ours, under each way to plan that it has. What a plan must
//! be is the asking test's.

use sqlx::{AssertSqlSafe, PgConnection, Row};
use tourbillon_pg::PgStore;

/// Plans for these very parameters, and one for any; without and with statistics. Nothing of ours depends on which.
pub(crate) const WAYS_TO_PLAN: [&str; 4] = [
    "set plan_cache_mode = force_custom_plan",
    "set plan_cache_mode = force_generic_plan",
    "set plan_cache_mode = force_custom_plan; analyze",
    "set plan_cache_mode = force_generic_plan; analyze",
];

/// Prepares one of the store's statements; `types` are those of its parameters, or nothing where Postgres finds them.
pub(crate) async fn prepare(
    connection: &mut PgConnection,
    store: &PgStore,
    (name, types): (&str, &str),
) -> sqlx::Result<()> {
    let statement = store.statement(name).unwrap_or_else(|| panic!("no file `{name}.sql`"));
    sqlx::raw_sql(AssertSqlSafe(format!("prepare {name} {types} as {statement}"))).execute(connection).await?;
    Ok(())
}

/// One by one: several in one message are one transaction, which a vacuum refuses.
pub(crate) async fn run_each(connection: &mut PgConnection, statements: &'static str) -> sqlx::Result<()> {
    for statement in statements.split(';') {
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The plan that was carried out, with the pages that it touched. Rolled back: every round finds the same rows.
pub(crate) async fn explain(connection: &mut PgConnection, call: &str) -> sqlx::Result<String> {
    sqlx::raw_sql("begin").execute(&mut *connection).await?;
    let explain = format!("explain (analyze, buffers) {call}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await?;
    sqlx::raw_sql("rollback").execute(&mut *connection).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>().join("\n"))
}

/// Of the top node, which counts those below it.
pub(crate) fn pages_touched(plan: &str) -> u64 {
    let buffers = plan.lines().find(|line| line.trim_start().starts_with("Buffers:")).unwrap_or_default();
    let shared = buffers.split(", local").next().unwrap_or_default();
    let counts = shared.split([' ', '=']).filter(|word| word.parse::<u64>().is_ok());
    counts.filter_map(|count| count.parse::<u64>().ok()).take(2).sum()
}
