//! The dashboard of a database, for as long as the command runs.

use serde_json::json;
use tourbillon_web::{Access, Web, axum};

use super::{Answer, args::ServeArgs, database::Database, json};

/// What the machine itself calls a loopback address.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// `serve`.
pub(super) async fn run(args: &ServeArgs) -> Result<Answer, String> {
    let database = Database::open_for_many(&args.at).await?;
    let listener = tokio::net::TcpListener::bind(args.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another address with --listen", args.listen)
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut web = Web::new(database.store(), database.runtime()).titled(&database.name);
    if args.allow_actions {
        let actor = args.actor.clone();
        web = web.allow_actions();
        if let Some(actor) = actor {
            web = web.authorize(move |_| Access::Act(actor.clone()));
        }
    }
    // Whoever listens for other machines says by which names, if it matters.
    if address.ip().is_loopback() || !args.hosts.is_empty() {
        web = web.hosts(LOOPBACK.into_iter().map(str::to_owned).chain(args.hosts.iter().cloned()));
    }
    if args.at.json {
        json::print(&json!({"url": format!("http://{address}/"), "may_act": args.allow_actions}))?;
    } else {
        let what = if args.allow_actions { "changes allowed" } else { "read-only" };
        println!("{} is at http://{address}/ ({what}); stop with Ctrl-C", database.name);
    }
    let stop = async {
        // Without a signal to wait for there is none to come.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let served = axum::serve(listener, web.router()).with_graceful_shutdown(stop).await;
    served.map_err(|error| format!("the server ended: {error}"))?;
    Ok(Answer::Yes)
}
