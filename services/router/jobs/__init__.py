"""Jobs at the router: recorded on acceptance, recognised when repeated, ended when their work is lost."""
