//! A server, explained by its roles.

use super::failure::loss;
use super::sentence::list;
use super::{Scene, Topic};
use crate::model::Server;
use crate::names::Role;

pub(super) fn topic(scene: &Scene<'_>, server: &Server) -> Topic {
    let site = scene.site;
    let roles: Vec<&str> = server.roles.iter().map(|role| role.as_str()).collect();
    let mut talks: Vec<String> = Vec::new();
    for plan in scene.plans.iter().filter(|plan| plan.server == server.name) {
        for service in &plan.services {
            for sentence in scene.arrows.sentences(service.name.as_str(), Some(&server.name)) {
                if !talks.contains(&sentence) {
                    talks.push(sentence);
                }
            }
        }
    }
    let losses = server.roles.iter().map(|role| format!("As `{role}`: {}.", loss(site, *role, server)));
    Topic {
        word: server.name.to_string(),
        title: "server".into(),
        who: Some(server.name.to_string()),
        what: format!(
            "A machine with the address {}, of its own or virtual, that runs Linux and Mainstay.",
            server.address
        ),
        here: here(scene, server, &roles),
        talks,
        fails: losses.collect::<Vec<_>>().join(" "),
        notices: Vec::new(),
    }
}

fn here(scene: &Scene<'_>, server: &Server, roles: &[&str]) -> String {
    let quoted: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
    let plural = if roles.len() == 1 { "role" } else { "roles" };
    let mut out = format!("It has the {plural} {}.", list(&quoted));
    if server.has(Role::Database) {
        let primary = scene.site.primary().is_some_and(|primary| primary.name == server.name);
        let part = if primary { "the primary: it comes first in the file" } else { "a replica" };
        out.push_str(&format!(" Its database is {part}."));
    }
    if server.spare {
        out.push_str(" It is a spare: it serves only when no other of its tier can.");
    }
    let services: Vec<String> = scene
        .plans
        .iter()
        .filter(|plan| plan.server == server.name)
        .flat_map(|plan| plan.services.iter().map(|service| format!("`{}`", service.name)))
        .collect();
    out.push_str(&match services.as_slice() {
        [] => " This version runs nothing for that yet.".into(),
        [one] => format!(" It runs {one}, a process under a user of its own."),
        many => format!(" It runs {}, each a process under a user of its own.", list(many)),
    });
    out
}
