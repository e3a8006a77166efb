//! Owns what makes a throw-away server demand TLS: its certificate, the roots that clients name, its settings. Made by the
//! `openssl` program; knows no server.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::cluster::{Cluster, NoPostgres, User};

/// What a client of a server that demands TLS may name as its `sslrootcert`.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Has signed the server's certificate, which is of 127.0.0.1.
    pub root: PathBuf,
    /// Has not.
    pub other_root: PathBuf,
}

const CONFIG: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = throw-away
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
";

/// Appended to the settings of the server.
const SETTINGS: &str = "ssl = on\n";

/// Everybody comes in, and nobody without TLS.
const WHO: &str = "hostssl all all 127.0.0.1/32 trust\n";

/// Lets nobody into `cluster` without TLS, from now on.
///
/// # Errors
/// [`NoPostgres`] when the server is not ours or does not start again, or `openssl` cannot be run.
pub fn demand_tls(cluster: &Cluster) -> Result<Demand, NoPostgres> {
    cluster.reconfigure(demand)
}

/// Writes everything into the server's `directory`, as the user that runs it.
fn demand(directory: &Path, user: User) -> io::Result<Demand> {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).and_then(|()| user.own(&path))
    };
    write("openssl.cnf", CONFIG)?;
    let make = |name: &str, rest: &[&str]| {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let always = ["req", "-x509", "-config", "openssl.cnf", "-days", "2", "-nodes", "-newkey", "ec"];
        let curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", &key, "-out", &certificate];
        let arguments = [&always[..], &curve, rest].concat();
        let output = user.command(Path::new("openssl"), directory).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| io::Error::other(format!("cannot run openssl: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("openssl failed for {certificate}: {said}")))
    };
    make("root", &["-extensions", "root"])?;
    make("other", &["-extensions", "root"])?;
    make("data/server", &["-extensions", "server", "-CA", "root.crt", "-CAkey", "root.key"])?;
    write("data/pg_hba.conf", WHO)?;
    let settings = directory.join("data/postgresql.auto.conf");
    fs::write(&settings, fs::read_to_string(&settings)? + SETTINGS)?;
    Ok(Demand { root: directory.join("root.crt"), other_root: directory.join("other.crt") })
}
