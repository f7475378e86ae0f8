package edge

// What follows is what scanners ask for on any server: files that should never
// be there, and pages of software that an API is not made of. It is kept short
// on purpose. A name is here only if no API is likely to use it at that place:
// whoever asks for it is refused without a word, and banned if he goes on.
//
// All names are in lower case. Each class is in the log, with the path.

// dotfiles are segments at any depth: these, and these followed by anything but
// a letter (.env.production, .git-credentials, .env~). Other names with a dot at
// their beginning pass, and so does all under /.well-known/.
var dotfiles = []string{
	".env", ".envrc", ".git", ".gitattributes", ".gitconfig", ".github", ".gitignore", ".gitlab-ci", ".gitmodules",
	".svn", ".hg", ".hgignore", ".bzr", ".cvs", ".subversion",
	".aws", ".azure", ".gcloud", ".s3cfg", ".boto", ".kube", ".terraform", ".docker", ".dockercfg", ".dockerenv", ".dockerignore",
	".ssh", ".gnupg", ".netrc", ".pgpass", ".my.cnf", ".npmrc", ".yarnrc", ".pypirc", ".composer", ".ftpconfig", ".ftppass", ".remote-sync",
	".ds_store", ".htaccess", ".htpasswd", ".htgroup", ".user.ini", ".wp-config", ".passwd", ".password", ".credentials", ".secret", ".secrets",
	".bash_history", ".bash_logout", ".bash_profile", ".bashrc", ".history", ".mysql_history", ".node_repl_history", ".profile", ".psql_history",
	".python_history", ".rediscli_history", ".sh_history", ".viminfo", ".zsh_history", ".zshrc",
	".vscode", ".idea", ".circleci", ".travis", ".drone", ".config",
}

// scripts are file extensions at any depth. None of them is a top-level domain,
// for domain names stand in paths too.
var scripts = []string{
	"php", "php3", "php4", "php5", "php7", "php8", "phtml", "phps", "pht", "phar", "asp", "aspx", "asax", "ascx", "axd",
	"jsp", "jspx", "jspa", "jhtml", "cfm", "cfc", "cgi", "fcgi", "nsf",
}

// anywhere are segments, or some in a row, at any depth.
var anywhere = []string{
	// WordPress and other PHP.
	"wp-admin", "wp-content", "wp-includes", "wp-json", "wp-login", "wp-config", "wlwmanifest.xml",
	"phpmyadmin", "phppgadmin", "phpldapadmin", "phpinfo", "phpunit", "_ignition", "_debugbar", "fckeditor", "kindeditor", "elfinder", "kcfinder",
	// CVS, CGI, FrontPage, Java and .NET.
	"cvs/entries", "cvs/root", "cvs/repository", "cgi-bin", "_vti_bin", "_vti_cnf", "_vti_pvt", "_vti_inf.html", "web-inf", "meta-inf", "web.config",
	// What a traversal is after.
	"etc/passwd", "etc/shadow", "etc/group", "etc/hosts", "proc/self", "windows/win.ini", "winnt/win.ini", "win.ini", "boot.ini",
	"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519",
}

// atRoot are the first segments of a path; $ says that nothing follows.
var atRoot = []string{
	// PHP applications.
	"pma", "myadmin", "mysqladmin", "sqladmin", "dbadmin", "adminer", "sqlitemanager", "xampp", "typo3", "typo3conf", "joomla", "wordpress",
	"administrator/components", "administrator/manifests", "sites/default/files", "sites/default/settings", "skin/frontend", "magento_version",
	"roundcube", "horde/imp", "_profiler", "_fragment", "telescope/requests", "debug/default", "vendor/phpunit", "vendor/composer",
	// Java.
	"actuator/$", "actuator/auditevents", "actuator/beans", "actuator/conditions", "actuator/configprops", "actuator/env", "actuator/gateway",
	"actuator/health", "actuator/heapdump", "actuator/httptrace", "actuator/info", "actuator/jolokia", "actuator/logfile", "actuator/loggers",
	"actuator/mappings", "actuator/metrics", "actuator/prometheus", "actuator/refresh", "actuator/threaddump", "actuator/trace",
	"jolokia", "heapdump", "manager/html", "manager/status", "manager/text", "host-manager", "jmx-console", "web-console",
	"invoker/jmxinvokerservlet", "invoker/ejbinvokerservlet", "wls-wsat", "_async/asyncresponseservice", "bea_wls_internal", "uddiexplorer",
	"solr", "hudson", "jenkins/login", "jenkins/script", "nacos/v1", "druid/index.html", "geoserver/web", "struts2-showcase",
	"struts2-rest-showcase", "examples/jsp", "examples/servlets", "axis2", "axis2-admin", "railo-context", "lucee", "cfide", "cfdocs",
	// Microsoft.
	"owa/$", "owa/auth", "ecp/$", "ecp/current", "autodiscover/autodiscover.json/$", "aspnet_client", "reportserver", "umbraco", "sitecore",
	// Gateways and appliances.
	"dana-na", "dana-cached", "+cscoe+", "+cscou+", "+cscot+", "remote/fgt_lang", "remote/login", "remote/logincheck", "global-protect",
	"ssl-vpn", "sslvpn", "vpn/index.html", "vpns/portal", "logon/logonpoint", "citrix/xenapp", "tmui", "mgmt/tm", "mgmt/shared",
	"sap/admin", "sap/bc", "sap/public", "irj/portal", "developmentserver/metadatauploader", "api/jsonws", "evox/about", "nice ports,",
	// Routers and cameras.
	"hnap1", "gponform", "boaform", "boafrm", "goform", "cgi", "cgi-sys", "cgi-mod", "cgi-local", "currentsetting.htm", "isapi/security",
	"sdk/weblanguage", "onvif/device_service",
	// Servers, clouds and what developers leave behind.
	"server-status", "server-info", "debug/pprof", "latest/meta-data", "computemetadata/v1", "docker-compose.yml", "docker-compose.yaml",
	"dockerfile", "composer.json", "composer.lock", "package-lock.json", "yarn.lock", "gruntfile.js", "gulpfile.js", "thumbs.db",
	"server.key", "private.key", "privatekey.key",
}

// spares are extensions of copies: a script's at any depth (index.php.bak), any
// file's at the root and in dumpFolders there.
var spares = []string{"bak", "bkp", "old", "orig", "save", "swp", "swo", "sql", "dump", "mdb"}

var dumpFolders = []string{"backup", "backups", "bak", "back", "db", "database", "sql", "mysql", "dump", "dumps", "old"}

// archives are spares only at the root and in dumpFolders there, and only under
// one of archiveNames, the site's own, or a name with backup in it.
var archives = []string{"zip", "rar", "7z", "tar", "gz", "tgz", "bz2", "xz"}

var archiveNames = []string{
	"back", "bak", "db", "database", "dump", "mysql", "sql", "old", "site", "website", "web", "www", "wwwroot", "public_html", "htdocs", "html",
	"wordpress", "wp",
}
