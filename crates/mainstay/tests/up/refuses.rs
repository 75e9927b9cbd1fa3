use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::site::{FILES, Site, err, root};

#[test]
fn a_taken_port_is_named_with_its_holder_and_the_option() {
    if !root() {
        return;
    }
    let site = Site::new(&[("site", FILES)]);
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    for option in ["--http", "--dns", "--page"] {
        let up = site.up_on(option, port);
        assert_eq!(up.status.code(), Some(1));
        let said = err(&up);
        assert!(said.contains(&format!("127.0.0.1:{port} for {} is taken by", &option[2..])), "{said}");
        assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
        assert!(said.contains(&format!("{option} PORT")), "{said}");
    }
    assert!(!site.state().exists(), "refused before anything was made");
}

#[test]
fn a_folder_that_services_cannot_reach_is_named() {
    if !root() {
        return;
    }
    let site = Site::new(&[("site", FILES)]);
    let closed = site.folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let up = site.up_in(&closed.join("state"));
    assert_eq!(up.status.code(), Some(1));
    assert!(err(&up).contains("closed has mode 700"), "{}", err(&up));
}
