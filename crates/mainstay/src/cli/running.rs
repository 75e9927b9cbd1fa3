//! Which site a verb is about, when it is not named.

use anyhow::{Context, bail};
use mainstay_lab::{Place, Record};
use mainstay_site::model::Site;
use mainstay_site::names::Domain;

use super::site_folder::SiteFolder;

/// Which site.
#[derive(clap::Args, Debug)]
pub struct Which {
    /// The site's domain; may be left out when only one is up
    #[arg(value_name = "SITE")]
    site: Option<String>,
    /// It is named behind `--site`.
    #[arg(skip)]
    behind_option: bool,
}

impl Which {
    /// The site of that name, given behind `--site`, or the only one.
    pub fn named(site: Option<String>) -> Which {
        Which { site, behind_option: true }
    }

    /// The site that was named, or the only one.
    pub fn domain(&self) -> anyhow::Result<Domain> {
        if let Some(named) = &self.site {
            return Ok(Domain(named.trim_end_matches('.').to_ascii_lowercase()));
        }
        match Place::sites().as_slice() {
            [only] => Ok(only.clone()),
            [] => bail!("no site is up on this machine (as this user); `mainstay up` brings one up"),
            several => {
                let names: Vec<&str> = several.iter().map(Domain::as_str).collect();
                let how = if self.behind_option { " with --site" } else { "" };
                bail!("several sites are up: {}; name one{how}", names.join(", "))
            }
        }
    }

    /// A site that is up, with its record and folder.
    pub fn running(&self) -> anyhow::Result<Running> {
        let domain = self.domain()?;
        let Some(record) = Place::usual(&domain).read()? else {
            bail!("{}", not_up(&domain));
        };
        let folder = SiteFolder(record.state.clone());
        let site: Option<Site> = folder.read("site.json")?;
        let site = site.with_context(|| format!("{} has no .site/site.json", folder.0.display()))?;
        Ok(Running { site, folder, record })
    }
}

/// That a site is not up, and which are.
pub fn not_up(domain: &Domain) -> String {
    let others: Vec<String> = Place::sites().iter().map(ToString::to_string).collect();
    let others = if others.is_empty() { "none is".into() } else { format!("up are: {}", others.join(", ")) };
    format!("{domain} is not up on this machine (as this user); {others}")
}

/// A site that is up.
pub struct Running {
    /// As it was declared.
    pub site: Site,
    /// Where it is kept.
    pub folder: SiteFolder,
    /// What it has on the machine.
    pub record: Record,
}
