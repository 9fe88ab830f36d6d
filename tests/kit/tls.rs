//! Certificates for test servers, made by the `openssl` command.

use crate::account::{Folder, command_as};
use std::path::PathBuf;

/// Makes an authority and a key and certificate of `localhost` that it signed. Elliptic curves
/// need no waiting.
const SCRIPT: &str = "set -e
new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
$new -x509 -days 2 -subj '/CN=a test authority' -keyout ca.key -out ca.crt \
  -addext 'basicConstraints=critical,CA:TRUE'
$new -subj '/CN=localhost' -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > server.ext
openssl x509 -req -in server.csr -days 2 -CA ca.crt -CAkey ca.key -CAcreateserial \
  -extfile server.ext -out server.crt
chmod 644 ca.crt";

/// An authority and a server's certificate. The files go when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    /// If `openssl` is missing or fails.
    pub fn make() -> Self {
        let folder = Folder::create("syncset-tls-");
        folder.open();
        let output = command_as(folder.user(), "/bin/sh", folder.path())
            .args(["-c", SCRIPT])
            .output()
            .expect("/bin/sh can be started");
        assert!(
            output.status.success(),
            "openssl (the package `openssl`) could not make certificates: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self {
            folder: folder.path().to_owned(),
        }
    }

    /// File of the authority.
    pub fn authority(&self) -> String {
        self.folder.join("ca.crt").display().to_string()
    }

    /// Files of the server's certificate and of its key.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (
            self.folder.join("server.crt"),
            self.folder.join("server.key"),
        )
    }

    /// Lines of `postgresql.conf`.
    pub fn config(&self) -> String {
        let folder = self.folder.display();
        format!(
            "ssl = on\nssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'"
        )
    }

    /// Lines of the section `[mysqld]`.
    pub fn mysql_config(&self) -> String {
        let folder = self.folder.display();
        format!(
            "ssl_ca = {folder}/ca.crt\nssl_cert = {folder}/server.crt\nssl_key = {folder}/server.key"
        )
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
