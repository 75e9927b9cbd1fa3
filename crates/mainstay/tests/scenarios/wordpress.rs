//! A real site that we did not write.

use std::process::Command;

use crate::lab::{Lab, root, said};

#[test]
fn wordpress_is_installed_and_a_post_with_an_image_is_read_back() {
    let example = root().join("examples/wordpress");
    let fetched = Command::new(example.join("fetch")).output().unwrap();
    assert!(fetched.status.success(), "{}", said(&fetched));
    let declaration = std::fs::read_to_string(example.join("site.toml")).unwrap();
    let codebase = format!("\"{}\"", example.join("codebase").display());
    let lab = Lab::start(&declaration.replace("\"codebase\"", &codebase), "wordpress.test");

    // Its own web installer, log-in, upload and publication, then a stranger reads post and image.
    let address = format!("http://{}", lab.www());
    let posted = Command::new(example.join("install-and-post"))
        .args([&address, "--connect", &lab.http().to_string()])
        .output()
        .unwrap();
    assert!(posted.status.success(), "{}", said(&posted));
    assert!(said(&posted).contains("read both back"), "{}", said(&posted));
}
