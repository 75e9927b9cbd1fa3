//! What `--help` says beyond the options. Its examples are parsed by a test, its declaration too.

/// Behind the verbs.
pub const MAINSTAY: &str = "\
Begin with a declaration, site.toml. This is a whole one:

  format = 1
  [site]
  domain = \"foobar.com\"
  [app]
  path = \"code\"             # the folder of the code
  kind = \"wsgi\"             # or asgi, php, http
  entry = \"main:app\"
  [servers.server1]
  address = \"10.80.0.11\"
  roles = [\"dns\", \"web\", \"app\", \"database\"]

Then:
  mainstay check site.toml     every mistake at once, and what is wrong with the design
  mainstay up site.toml        the site on this machine, until Ctrl-C
  mainstay explain balancer    what a component is, why it is there, what happens when it fails

Exit codes:
  0  all is well
  1  something failed; standard error says what
  2  the command line is wrong
  3  the declaration has mistakes
  4  it has findings that --deny forbids
  5  not everything serves";

/// Behind `up`'s options.
pub const UP: &str = "\
Examples:
  sudo mainstay up site.toml             says what changes; Ctrl-C stops the site, its data stays
  sudo mainstay up --detach site.toml    then: mainstay status, mainstay logs, mainstay down
  mainstay up --loopback site.toml       without root";

/// Behind `lab scenario`'s options.
pub const LAB_SCENARIO: &str = "\
Examples:
  mainstay lab scenario --list
  sudo mainstay lab scenario db-kill-mariadbd
  sudo mainstay lab scenario db-power-off-primary --runs 20 --json
  sudo mainstay lab scenario db-guestbook-power-off    visitors post while a server goes
  sudo mainstay lab scenario vip-power-off vip-hand-over --runs 20
Those named vip-power-off… and vip-keepalived… play keepalived too, where there is one:
/usr/sbin/keepalived, or what MAINSTAY_KEEPALIVED names (`bin/keepalived` unpacks Debian's).
Exit code 1 where the promise was broken: an acknowledged write lost, two servers that take writes, servers that differ,
an address that was away for too long, or that two have.
Power cuts come at moments that are drawn; --seed draws the same again.
Interrupted, it takes down what it brought up (exit code 130, or 143 by SIGTERM); interrupted once
more it ends at once and says what is left.";

/// Behind `down`'s options.
pub const DOWN: &str = "\
Examples:
  mainstay down                       the only site that is up
  mainstay down foobar.com --purge    and everything it kept";

/// Behind `apply`'s options.
pub const APPLY: &str = "\
Examples:
  mainstay apply site.toml              shows what changes on which server, and asks
  mainstay apply --yes --wait site.toml
  mainstay apply --dry-run site.toml
Servers follow one after the other, each once the one before is well; at one that is not they stop.
A release alone that does not work is gone back from by itself.
Files that it names are read each time: a renewed certificate is shown once its declaration is applied again.
Killed, this command leaves what was before, or servers that go on by themselves.
Exit code 1 with --wait: not every server could follow";

/// Behind `rollback`'s options.
pub const ROLLBACK: &str = "\
Examples:
  mainstay rollback          to the generation before
  mainstay rollback 3 --yes --wait
What was becomes the next generation, in the same way as `mainstay apply`.";

/// Behind `history`'s options.
pub const HISTORY: &str = "\
Examples:
  mainstay history                what was applied when, and how far the servers are
  mainstay history foobar.com --json";

/// Behind `maintain`'s options.
pub const MAINTAIN: &str = "\
Examples:
  mainstay maintain web1          nobody asks it any more; what it works on ends
  mainstay maintain web1 --done
A server with the primary database hands it over first. Its services run on, so it can be looked at.";

/// Behind `restart`'s options.
pub const RESTART: &str = "\
Examples:
  mainstay restart --rolling                the whole site
  mainstay restart --rolling --tier app
Databases, their endpoints and the store go on: a new process of theirs would cut connections.";

/// Behind `upgrade`'s options.
pub const UPGRADE: &str = "\
Put the new mainstay where the old one is (cp to a name beside it, then mv), then:
  mainstay upgrade                the only site that is up
  mainstay upgrade foobar.com     this one
One server after the other: its supervisor, then its services. Connections wait, none is cut.
The SQL endpoints and databases keep the old program until they are started again.";

/// Behind `status`' options.
pub const STATUS: &str = "\
Examples:
  mainstay status                      the only site that is up
  mainstay status foobar.com --json    for a monitor: exit code 5 unless everything serves
Numbers in brackets are processes of this machine.";

/// Behind `logs`' options.
pub const LOGS: &str = "\
Examples:
  mainstay logs server1 app-site -f     the application's, and what comes
  mainstay logs server1                 its supervisor's: what was started, what ended and why
`mainstay status` shows the names of servers and services.";

/// Behind `purge`'s options.
pub const PURGE: &str = "\
Examples:
  mainstay purge https://www.foobar.com/news    one address, as visitors write it
  mainstay purge foobar.com /news /news?page=2    paths, whatever the host
  mainstay purge --tag post-17    what the application marked so, by Cache-Tag or Surrogate-Key
Exit code 5: not every web server could be asked; the others have done it.";

/// Behind `db`'s options.
pub const DB: &str = "\
Examples:
  mainstay db status        who is the primary, how far every replica is, and why
  mainstay db switchover    another server becomes the primary, and nothing is lost
  mainstay db backup --to /var/backups/site
`mainstay db VERB --help` has more about each.";

/// Behind `db status`'s options.
pub const DB_STATUS: &str = "\
Examples:
  mainstay db status
  mainstay db status --json    for a program
Exit code 5: nobody is the primary, or a server does not serve.";

/// Behind `db switchover`'s options.
pub const DB_SWITCHOVER: &str = "\
Examples:
  mainstay db switchover             to the replica that is furthest
  mainstay db switchover --to db2
Visitors' requests are held for the moment that it takes; those under way are answered first.
It is done when the new primary takes writes. Exit code 1: the old one still does, and why.";

/// Behind `db failover`'s options.
pub const DB_FAILOVER: &str = "\
Examples:
  mainstay db failover                     what is safe: everybody who may know more was asked
  mainstay db failover --to db2 --force    says what may be lost, and asks
With failover = \"automatic\" the safe one happens by itself.";

/// Behind `db rejoin`'s options.
pub const DB_REJOIN: &str = "\
Example:
  mainstay db rejoin db2
A server that was away does this by itself where it must; here you decide. It is done when the
server is a replica again; ending the command earlier ends only the waiting.";

/// Behind `db backup`'s options.
pub const DB_BACKUP: &str = "\
Examples:
  mainstay db backup                            to the folder of [database] backup
  mainstay db backup --to /var/backups/site     to another
A folder that is not there yet is made. A backup holds the data and, from then on, the binary
logs; with
  backup = { to = \"/var/backups/site\", every = \"1d\", keep = 7 }
in [database] they are made by themselves and the logs follow within a second.";

/// Behind `db restore`'s options.
pub const DB_RESTORE: &str = "\
Example:
  mainstay db restore --to 2026-11-21T10:15:00Z
The replicas follow; whoever is the primary stays it.";

/// Behind `db verify`'s options.
pub const DB_VERIFY: &str = "\
Example:
  mainstay db verify
Commits are held for the milliseconds in which all servers reach one position.
Exit code 1: something differs, and standard error says what.";

/// Behind `check`'s options.
pub const CHECK: &str = "\
Examples:
  mainstay check site.toml
  mainstay check --deny spof,security site.toml    for a pipeline: exit code 4 if there is any";

/// Behind `draw`'s options.
pub const DRAW: &str = "\
Examples:
  mainstay draw site.toml                on the terminal
  mainstay draw site.toml -o site.svg    for a wiki";

/// Behind `explain`'s options.
pub const EXPLAIN: &str = "\
Examples:
  mainstay explain site.toml        all of the site
  mainstay explain balancer         one component of ./site.toml
  mainstay explain lb1 site.toml    one server";

/// Behind `plan`'s options.
pub const PLAN: &str = "\
Examples:
  mainstay plan site.toml
  mainstay plan --server lb1 --json site.toml";

/// Behind `serve`'s options.
pub const SERVE: &str = "\
Examples:
  mainstay serve --server lb1 --declaration site.toml    builds and runs lb1
  mainstay serve --server lb1 --state /srv/lb1           runs the plan that is stored there
`mainstay up` runs every server of a site on one machine.";

/// Behind `schema`'s options.
pub const SCHEMA: &str = "\
Example:
  mainstay schema > site.schema.json
Editors with a TOML language server take it when the declaration begins with
  #:schema ./site.schema.json";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use mainstay_site::declaration::{Anywhere, parse};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_example_is_a_command_line() {
        let all = [
            MAINSTAY,
            UP,
            DOWN,
            APPLY,
            ROLLBACK,
            HISTORY,
            MAINTAIN,
            RESTART,
            UPGRADE,
            STATUS,
            LOGS,
            PURGE,
            DB,
            DB_STATUS,
            DB_SWITCHOVER,
            DB_FAILOVER,
            DB_REJOIN,
            DB_BACKUP,
            DB_RESTORE,
            DB_VERIFY,
            CHECK,
            DRAW,
            EXPLAIN,
            PLAN,
            SERVE,
            SCHEMA,
        ];
        for text in all {
            let lines =
                text.lines().filter_map(|line| line.trim_start().trim_start_matches("sudo ").strip_prefix("mainstay "));
            let mut examples =
                lines.map(|line| line.split("  ").next().unwrap_or(line).split(" >").next().unwrap_or(line));
            let wrong =
                examples.clone().find_map(|line| Cli::try_parse_from(format!("mainstay {line}").split(' ')).err());
            assert!(wrong.is_none(), "{}", wrong.unwrap());
            assert!(examples.next().is_some(), "no example in {text}");
        }
    }

    #[test]
    fn the_whole_declaration_is_one() {
        let text: Vec<&str> = MAINSTAY.lines().skip(2).take_while(|line| !line.is_empty()).collect();
        let site = parse(&text.join("\n"), &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(site.servers.len(), 1);
    }

    /// On a terminal of 100 columns no line is broken by it.
    #[test]
    fn help_has_at_most_100_columns() {
        let mut whole = Cli::command();
        whole.build();
        for verb in std::iter::once(&whole).chain(whole.get_subcommands()) {
            let text = verb.clone().render_long_help().to_string();
            let long = text.lines().find(|line| line.chars().count() > 100);
            assert_eq!(long, None, "{}", verb.get_name());
            assert!(
                verb.is_hide_set() || verb.get_name() == "help" || text.contains("  mainstay "),
                "{}",
                verb.get_name()
            );
        }
    }
}
