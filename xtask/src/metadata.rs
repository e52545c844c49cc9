//! What `cargo metadata` says of the workspace, reduced to what the tasks ask.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace::{Workspace, output};

/// The members of the workspace, as their manifests have them.
pub(crate) struct Metadata {
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
    /// The members of the workspace, by name.
    pub(crate) members: BTreeMap<String, Package>,
}

/// A member of the workspace.
pub(crate) struct Package {
    /// The folder of its manifest, relative to the root of the workspace.
    pub(crate) folder: PathBuf,
    /// `rust-version`, if stated.
    pub(crate) rust_version: Option<String>,
    /// May it be published?
    pub(crate) published: bool,
    /// The root files of its libraries and programs, relative to the root of the workspace.
    pub(crate) roots: Vec<PathBuf>,
    /// What its manifest names, of every kind.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a manifest.
pub(crate) struct Dependency {
    /// The package's own name, also where the manifest renames it.
    pub(crate) name: String,
    /// For tests, examples and benchmarks alone.
    pub(crate) dev: bool,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn load(workspace: &Workspace) -> Result<Self> {
        let json = output(&mut workspace.cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
        Self::parse(&json).context("reading the output of `cargo metadata`")
    }

    fn parse(json: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(json)?;
        let root = Path::new(text(&json["workspace_root"])?);
        // Without the dependencies, the packages are the members.
        let members = list(&json["packages"])?.iter().map(|member| Package::parse(member, root));
        Ok(Self { target_directory: text(&json["target_directory"])?.into(), members: members.collect::<Result<_>>()? })
    }
}

impl Package {
    fn parse(json: &Value, root: &Path) -> Result<(String, Self)> {
        let relative = |path: &Value| -> Result<PathBuf> {
            let path = Path::new(text(path)?);
            Ok(path.strip_prefix(root).unwrap_or(path).to_owned())
        };
        let targets = list(&json["targets"])?.iter().filter(|target| is_root(target));
        let dependencies = list(&json["dependencies"])?.iter().map(|dependency| {
            Ok(Dependency { name: text(&dependency["name"])?.to_owned(), dev: dependency["kind"] == "dev" })
        });
        let manifest = relative(&json["manifest_path"])?;
        let package = Self {
            folder: manifest.parent().unwrap_or(&manifest).to_owned(),
            rust_version: json["rust_version"].as_str().map(str::to_owned),
            published: json["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
            roots: targets.map(|target| relative(&target["src_path"])).collect::<Result<_>>()?,
            dependencies: dependencies.collect::<Result<_>>()?,
        };
        Ok((text(&json["name"])?.to_owned(), package))
    }
}

/// A library or a program; tests, benchmarks, examples and build scripts ship nothing.
fn is_root(target: &Value) -> bool {
    let kinds = target["kind"].as_array().map(Vec::as_slice).unwrap_or_default();
    kinds.iter().any(|kind| ["lib", "rlib", "proc-macro", "bin"].iter().any(|root| kind == root))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("expected a string, found {value}"))
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("expected a list, found {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{
        "workspace_root": "/w", "target_directory": "/w/target",
        "packages": [
            { "name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "rust_version": "1.88", "publish": null,
              "targets": [{ "kind": ["lib"], "src_path": "/w/crates/a/src/lib.rs" },
                          { "kind": ["test"], "src_path": "/w/crates/a/tests/t.rs" }],
              "dependencies": [{ "name": "b", "kind": null }, { "name": "c", "kind": "dev" }] }] }"#;

    #[test]
    fn members_are_read() {
        let metadata = Metadata::parse(SMALL).unwrap();
        let member = &metadata.members["a"];
        assert_eq!(metadata.target_directory, Path::new("/w/target"));
        assert!(member.published);
        assert_eq!(member.folder, Path::new("crates/a"));
        assert_eq!(member.roots, [Path::new("crates/a/src/lib.rs")]);
        assert_eq!(member.rust_version.as_deref(), Some("1.88"));
        let kinds: Vec<_> = member.dependencies.iter().map(|d| (d.name.as_str(), d.dev)).collect();
        assert_eq!(kinds, [("b", false), ("c", true)]);
    }

    #[test]
    fn an_empty_list_of_registries_means_unpublished() {
        let metadata = Metadata::parse(&SMALL.replace(r#""publish": null"#, r#""publish": []"#)).unwrap();
        assert!(!metadata.members["a"].published);
    }

    #[test]
    fn what_is_no_metadata_is_an_error() {
        assert!(Metadata::parse("{}").is_err());
        assert!(Metadata::parse("no").is_err());
    }
}
