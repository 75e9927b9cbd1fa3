//! PHP's settings: what a production server wants, whatever the machine's own `php.ini` says.

use std::path::Path;

/// The folders that PHP writes to.
pub(super) struct Folders<'a> {
    /// Sessions survive a restart.
    pub sessions: &'a Path,
    /// Uploads on their way in.
    pub temporary: &'a Path,
}

/// A form with everything in it. Larger ones are refused with a 413 before a worker sees them: PHP would run the script
/// with an empty form.
pub(super) const POST_BYTES_MAX: u64 = 72 << 20;

/// The text of `php.ini`. Meaning and defaults of each line: the PHP manual's "List of php.ini directives".
///
/// - Errors are for the log, not for visitors. No file for them: they come with the answer (FCGI_STDERR), so that it is
///   known which request they are of.
/// - An upload of 64 MB is a long video from a phone; the whole form may be a little more.
/// - `.user.ini` files are not read: a folder of uploads must not be able to change settings.
/// - Each worker has an opcode cache of its own, hence not the default 128 MB.
pub(super) fn settings(folders: &Folders<'_>) -> String {
    let (sessions, temporary) = (folders.sessions.display(), folders.temporary.display());
    format!(
        "; Written by Mainstay at every start.\n\
         expose_php = Off\n\
         display_errors = Off\n\
         log_errors = On\n\
         error_reporting = E_ALL & ~E_DEPRECATED & ~E_STRICT\n\
         html_errors = Off\n\
         memory_limit = 256M\n\
         upload_max_filesize = 64M\n\
         post_max_size = {POST_BYTES_MAX}\n\
         max_execution_time = 60\n\
         max_input_time = 60\n\
         max_input_vars = 5000\n\
         date.timezone = UTC\n\
         default_charset = UTF-8\n\
         user_ini.filename =\n\
         sys_temp_dir = \"{temporary}\"\n\
         upload_tmp_dir = \"{temporary}\"\n\
         session.save_handler = files\n\
         session.save_path = \"{sessions}\"\n\
         session.use_strict_mode = 1\n\
         session.cookie_httponly = 1\n\
         session.cookie_samesite = Lax\n\
         session.gc_probability = 1\n\
         session.gc_divisor = 1000\n\
         opcache.enable = 1\n\
         opcache.memory_consumption = 64\n"
    )
}
