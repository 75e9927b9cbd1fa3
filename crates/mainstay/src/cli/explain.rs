//! `mainstay explain`: what each component is, why it is there, what it talks to, and what happens when it fails.

use std::path::PathBuf;
use std::process::ExitCode;

use mainstay_site::explain::{Topic, explain, explain_all};

use super::declaration::File;
use crate::render::{self, Paint, wrap};

/// Lines no longer than this are read without turning the head.
const WIDTH: usize = 100;
/// Where the sentences begin.
const INDENT: usize = 12;

/// Explain the site's components: what they are, why they are there, how they fail
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::EXPLAIN)]
pub struct Args {
    /// A component (balancer, dns, replica, …), a role, or a server's name; all components if left out
    #[arg(value_name = "COMPONENT")]
    component: Option<String>,
    /// The declaration of the site
    #[arg(value_name = "FILE", default_value = "site.toml")]
    file: PathBuf,
}

impl Args {
    /// `mainstay explain designs/0-simple.toml` names a file: no component has a dot or a slash.
    fn sorted(mut self) -> (Option<String>, File) {
        if let Some(path) = self.component.take_if(|word| word.contains(['.', '/'])) {
            self.file = path.into();
        }
        (self.component, File { file: self.file })
    }
}

/// Prints the explanations.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (component, file) = args.sorted();
    let site = file.load()?.site;
    let topics = match &component {
        Some(word) => explain(&site, word)?,
        None => explain_all(&site),
    };
    let paint = Paint(render::colour(&std::io::stdout()));
    let mut out = topics.iter().map(|topic| told(topic, &paint)).collect::<Vec<_>>().join("\n");
    if component.is_none() {
        out.push_str(&paint.dim("\nOne of these or a server alone: mainstay explain balancer, mainstay explain "));
        out.push_str(&paint.dim(&format!("{}\n", site.servers[0].name)));
    }
    render::print(&out);
    Ok(ExitCode::SUCCESS)
}

fn told(topic: &Topic, paint: &Paint) -> String {
    let who = topic.who.as_deref().unwrap_or("not in this design");
    let word = if topic.who.as_ref() == Some(&topic.word) { String::new() } else { format!("  {}", topic.word) };
    let mut out = format!("{}  {who}{}\n", paint.bold(&topic.title), paint.dim(&word));
    let mut line = |label: &str, text: &str| {
        let label = paint.dim(&format!("  {label:<width$}", width = INDENT - 2));
        out.push_str(&format!("{label}{}\n", wrap(text, WIDTH, INDENT)));
    };
    line("what", &topic.what);
    line("here", &topic.here);
    for (place, sentence) in topic.talks.iter().enumerate() {
        line(if place == 0 { "talks" } else { "" }, sentence);
    }
    line("fails", &topic.fails);
    for (place, notice) in topic.notices.iter().enumerate() {
        line(if place == 0 { "not yet" } else { "" }, &format!("{}: {}", notice.declared, notice.instead));
    }
    out
}
