//! Owns which loops there are: number, id, interval, operation timeout, first run, as `truth-table` rows name them.
//! Knows nothing about what they do.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// When a loop runs first after its process booted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    /// At once.
    AtBoot,
    /// After one interval.
    AfterInterval,
}

macro_rules! loops {
    ($($loop:ident = $number:literal $id:literal, $every:expr, $timeout:expr, $first:ident, $about:literal;)*) => {
        /// A loop of the operator: a row of the truth table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Loop { $(#[doc = $about] $loop = $number,)* }

        impl Loop {
            /// All fifteen, in the order of their numbers.
            pub const ALL: [Self; 15] = [$(Self::$loop,)*];

            /// The id used in commands, histories and reports.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$loop => $id,)* }
            }

            /// One line for people.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$loop => $about,)* }
            }

            /// How often it runs, unless configured otherwise.
            pub const fn interval(self) -> Duration {
                match self { $(Self::$loop => $every,)* }
            }

            /// A tick that runs longer is given up, unless configured otherwise.
            pub const fn timeout(self) -> Duration {
                match self { $(Self::$loop => $timeout,)* }
            }

            /// When it runs first.
            pub const fn first(self) -> First {
                match self { $(Self::$loop => First::$first,)* }
            }
        }
    };
}

const fn times(unit: Duration, n: u32) -> Duration {
    Duration::from_secs(unit.as_secs() * n as u64)
}

loops! {
    RenewalCheck = 1 "renewal_check", HOUR, times(MINUTE, 5), AtBoot, "certificates that end soon get a renewal job and alerts";
    JobProcessor = 2 "job_processor", times(SECOND, 30), times(MINUTE, 2), AtBoot, "pending renewal jobs are issued by the CA";
    JobRetry = 3 "job_retry", times(MINUTE, 5), times(MINUTE, 2), AtBoot, "failed jobs with attempts left become pending again";
    JobTimeout = 4 "job_timeout", times(MINUTE, 10), times(MINUTE, 2), AtBoot, "running jobs that stand still fail";
    AgentHealth = 5 "agent_health", times(MINUTE, 2), MINUTE, AtBoot, "agents that do not report become offline";
    NotificationProcess = 6 "notification_process", MINUTE, MINUTE, AtBoot, "pending notifications are sent";
    NotificationRetry = 7 "notification_retry", times(MINUTE, 2), times(MINUTE, 2), AtBoot, "failed notifications that are due are sent again";
    ShortLivedExpiry = 8 "short_lived_expiry", times(SECOND, 30), times(SECOND, 30), AtBoot, "short-lived certificates that ended become expired";
    NetworkScan = 9 "network_scan", times(HOUR, 6), times(MINUTE, 30), AtBoot, "targets are probed for certificates";
    Digest = 10 "digest", times(HOUR, 24), times(MINUTE, 5), AfterInterval, "every recipient gets an e-mail a day";
    HealthCheck = 11 "health_check", MINUTE, times(MINUTE, 5), AfterInterval, "endpoints are probed and their failures counted";
    CloudDiscovery = 12 "cloud_discovery", times(HOUR, 6), times(MINUTE, 30), AtBoot, "cloud sources are asked for certificates, at a price";
    CrlGeneration = 13 "crl_generation", HOUR, times(MINUTE, 5), AfterInterval, "a new revocation list is signed and published";
    AcmeGc = 14 "acme_gc", MINUTE, MINUTE, AfterInterval, "expired ACME rows are deleted";
    SessionGc = 15 "session_gc", HOUR, MINUTE, AfterInterval, "expired sessions and keys are deleted";
}

impl Loop {
    /// Its number in the reference's list, from 1.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The loop of this id.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.id() == id)
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}
