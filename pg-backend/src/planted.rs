//! Owns the bugs that are planted on purpose in the statements of this store, to see that its tests catch them (`docs/ZOO.md`). The
//! simulation cannot: it has no Postgres. Never for programs.

use std::{borrow::Cow, cell::Cell};

macro_rules! bugs {
    ($($name:ident $file:literal $right:literal => $wrong:literal)*) => {
        /// A bug of one statement, by its id in the zoo.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug {
            $(#[doc = concat!("In `sql/", $file, ".sql`.")] $name,)*
        }

        impl Bug {
            /// The statement that it is in, as a file of `sql/`.
            pub const fn file(self) -> &'static str {
                self.change().0
            }

            /// The file of `sql/`, what it says once, and what it says with the bug.
            const fn change(self) -> (&'static str, &'static str, &'static str) {
                match self { $(Self::$name => ($file, $right, $wrong),)* }
            }
        }
    };
}

bugs! {
    D20 "claim_plain" "\n            for update of e skip locked" => ""
    D21 "claim_plain" "bool_and({is_plain:d})" => "bool_or({is_plain:d})"
    D22 "claim_onward" "\n        for update of e skip locked" => ""
    D23 "claim_onward" "e.priority < $7::smallint" => "false"
    D24 "claim_onward" "$8::timestamptz + interval '1 second'" => "'infinity'"
    D25 "claim_onward" "bool_and(d.is_plain)" => "bool_or(d.is_plain)"
    D26 "settle_plain" "e.token = i.token and e.fence = i.fence and " => ""
    D27 "settle_plain" "e.limit_key is null and " => ""
    D28 "settle_plain" "e.slot_at is null and e.generation = 1" => "true"
    D29 "settle_plain" "(select count(*) from gone) < cardinality($3::uuid[])" => "false"
    D30 "enqueue_one" "where h.id = $4::uuid limit 1" => "where false"
    D31 "enqueue_alike" "where h.id = n.id limit 1" => "where false"
    D32 "check_keys" "h.unique_key = m.unique_key" => "false"
}

thread_local! {
    static LOOSE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Ends with its scope: then no bug is loose on this thread. See [`let_loose`].
#[derive(Debug)]
#[must_use = "the bug is caught again when this is dropped"]
pub struct Loose(());

impl Drop for Loose {
    fn drop(&mut self) {
        LOOSE.set(None);
    }
}

/// Lets a bug loose in all stores that this thread connects meanwhile; they keep it.
pub fn let_loose(bug: Bug) -> Loose {
    LOOSE.set(Some(bug));
    Loose(())
}

/// A file of `sql/`, with the bug in it that is loose.
pub(crate) fn text<'a>(file: &str, text: &'a str) -> Cow<'a, str> {
    match LOOSE.get().map(Bug::change) {
        Some((of, right, wrong)) if of == file => {
            assert_eq!(text.matches(right).count(), 1, "sql/{file}.sql does not say once: {right}");
            text.replace(right, wrong).into()
        }
        _ => text.into(),
    }
}
