//! `[servers.NAME]`.

use std::collections::HashMap;
use std::net::IpAddr;

use super::diagnostic::Errors;
use super::reader::{At, Section};
use super::syntax::{address_fault, label_fault};
use crate::model::Server;
use crate::names::{Role, ServerName};

/// The servers with the place of their names, in the order of the file.
pub(super) fn read(file: &Section<'_>, errors: &mut Errors) -> Vec<At<Server>> {
    let sections = file.named("servers", errors);
    let mut addresses: HashMap<IpAddr, (String, super::reader::Span)> = HashMap::new();
    let mut servers = Vec::new();
    for (name, section) in sections {
        if let Some(fault) = label_fault(&name.value) {
            errors
                .add(&name.span, format!("`{}` is no name for a server", name.value))
                .label(fault)
                .hint("the zone lists every server by this name");
        } else if matches!(name.value.as_str(), "www" | "internet") || is_name_server(&name.value) {
            errors
                .add(&name.span, format!("a server cannot be called `{}`", name.value))
                .label("the site uses this name itself");
        }
        let address = address(&section, errors);
        if let Some(at) = &address {
            if let Some((other, first)) = addresses.get(&at.value) {
                errors
                    .add(&at.span, format!("{} has the address of {other}", name.value))
                    .label("the same address")
                    .also(first, format!("{other} has it"));
            } else {
                addresses.insert(at.value, (name.value.clone(), at.span.clone()));
            }
        }
        let roles = roles(&section, &name.value, errors);
        let weight = section.count("weight", errors).and_then(|at| at.value.try_into().ok()).unwrap_or(1);
        let spare = section.flag("spare", errors).is_some_and(|at| at.value);
        if let (Some(address), Some(roles)) = (address, roles) {
            let value = Server {
                name: ServerName(name.value),
                address: address.value,
                roles,
                weight,
                spare,
                maintained: false,
                number: None,
            };
            servers.push(At { value, span: name.span });
        }
    }
    servers
}

/// `ns1`, `ns2`, …: the names of the zone's name servers.
fn is_name_server(name: &str) -> bool {
    name.strip_prefix("ns").is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn address(section: &Section<'_>, errors: &mut Errors) -> Option<At<IpAddr>> {
    let at = section.text("address", errors)?;
    parse_address(&at, errors)
}

/// An address that a server can have.
pub(super) fn parse_address(at: &At<String>, errors: &mut Errors) -> Option<At<IpAddr>> {
    let Ok(value) = at.value.parse::<IpAddr>() else {
        let diagnostic = errors.add(&at.span, format!("`{}` is no IP address", at.value));
        diagnostic.label("not an address");
        if at.value.contains('/') {
            diagnostic.hint("write the address alone, without the length of its network");
        } else {
            diagnostic.hint("an address looks like 10.80.0.11 or 2001:db8::11");
        }
        return None;
    };
    if let Some(fault) = address_fault(value) {
        errors.add(&at.span, format!("`{value}` {fault}")).label("no server can have this address");
        return None;
    }
    Some(At { value, span: at.span.clone() })
}

fn roles(section: &Section<'_>, name: &str, errors: &mut Errors) -> Option<Vec<Role>> {
    let listed = section.words("roles", errors)?;
    // An empty list; one of unknown words was complained of already.
    if section.texts("roles", &mut Errors::default()).is_some_and(|texts| texts.value.is_empty()) {
        errors
            .add(&listed.span, format!("{name} has no role"))
            .label("nothing to do")
            .hint("give it a role, or remove the server");
    }
    let mut roles: Vec<Role> = Vec::new();
    for at in &listed.value {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == at.value)?;
        if roles.contains(&role) {
            errors.add(&at.span, format!("{name} has the role `{role}` twice")).label("once is enough");
        } else {
            roles.push(role);
        }
    }
    roles.sort();
    Some(roles)
}
