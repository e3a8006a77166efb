//! The schema: bringing it up to date, or saying that it is not.

use serde_json::json;
use tourbillon::store::{ErrorKind, Migrate, ReadClock, SCHEMA_VERSION};

use super::{Answer, args::MigrateArgs, database::Database, json};

/// `migrate`.
pub(super) async fn migrate(args: &MigrateArgs) -> Result<Answer, String> {
    if args.check {
        return check(args).await;
    }
    let database = Database::make(&args.at).await?;
    let mut applied = Vec::new();
    loop {
        let step = database.ask(Migrate { known: SCHEMA_VERSION }).await?;
        if step.from < step.to {
            applied.push(step.to);
            if !args.at.json {
                println!("applied step {}", step.to);
            }
        }
        if step.to >= SCHEMA_VERSION {
            break;
        }
    }
    if args.at.json {
        json::print(&json!({"database": database.name, "schema_version": SCHEMA_VERSION, "applied": applied}))?;
    } else {
        println!("{} has schema version {SCHEMA_VERSION}", database.name);
    }
    Ok(Answer::Yes)
}

/// Any verb but `migrate` is refused until the schema is complete.
async fn check(args: &MigrateArgs) -> Result<Answer, String> {
    let database = Database::open(&args.at).await?;
    let refused = match database.try_ask(ReadClock {}).await {
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::Invalid => Some(error.message().to_owned()),
        Err(error) => return Err(error.message().to_owned()),
    };
    if args.at.json {
        json::print(&json!({"database": database.name, "is_complete": refused.is_none(), "why": refused}))?;
    } else {
        match &refused {
            None => println!("{} has schema version {SCHEMA_VERSION}: nothing is pending", database.name),
            Some(why) => println!("{why}"),
        }
    }
    Ok(if refused.is_none() { Answer::Yes } else { Answer::No })
}
