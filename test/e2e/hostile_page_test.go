package e2e

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// hostile is a page that wants its visitors banned.
const hostile = `<!doctype html><meta charset=utf-8><title>kittens</title><script>
const api = "{{API}}";
const ended = e => new Promise(done => { e.onload = e.onerror = e.onclose = done; setTimeout(done, 4000); });
function add(name, attributes) {
  const e = Object.assign(document.createElement(name), attributes);
  const over = ended(e);
  document.documentElement.append(e);
  return over;
}
(async () => {
  const form = document.createElement("form");
  Object.assign(form, {method: "POST", action: api + "/xmlrpc.php", target: "posted"});
  document.documentElement.append(form);
  const posted = add("iframe", {name: "posted"});
  await Promise.all([
    add("img", {src: api + "/.env", referrerPolicy: "no-referrer"}),
    add("img", {src: api + "/.git/config"}),
    add("script", {src: api + "/.aws/credentials"}),
    add("link", {rel: "stylesheet", href: api + "/wp-login.php"}),
    add("iframe", {src: api + "/.ssh/id_rsa"}),
    add("iframe", {src: api + "/.htpasswd", sandbox: ""}),
    fetch(api + "/.env.bak", {mode: "no-cors", referrerPolicy: "no-referrer"}).catch(() => {}),
    fetch(api + "/.env.old").catch(() => {}),
    ended(new WebSocket(api.replace("https", "wss") + "/.env.save")),
    navigator.sendBeacon(api + "/.svn/entries", "x"),
  ]);
  form.submit();
  await posted;
  await new Promise(done => setTimeout(done, 500));
  await fetch("/result", {method: "POST", body: "{}"});
})();
</script>`

// A page of another site can have its visitors' browsers ask for what scanners
// ask for. Each of these requests must be known for what it is, or the visitor
// would be banned for it. Which headers there are is for a real browser to say.
func TestTrapHostilePageHasItsVisitorsBanned(t *testing.T) {
	chromium := tool(t, "chromium", "chromium-browser", "google-chrome")
	d := deploy(t)
	d.start()
	results := make(chan map[string]string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/result" {
			results <- nil
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = strings.NewReplacer("{{API}}", d.URL).WriteString(w, hostile)
	}))
	defer s.Close()
	for site, origin := range map[string]string{"cross-site": s.URL, "same-site": strings.Replace(s.URL, "127.0.0.1", "localhost", 1)} {
		before := len(d.stderr.String())
		d.browse(t, chromium, s, results, origin)
		known := map[string]bool{}
		for lines := bufio.NewScanner(strings.NewReader(d.stderr.String()[before:])); lines.Scan(); {
			var e struct {
				Name      string `json:"event.name"`
				Detail    string `json:"ringwall.detail"`
				Elsewhere bool   `json:"ringwall.elsewhere"`
			}
			if json.Unmarshal(lines.Bytes(), &e) == nil && e.Name == "scanner.refused" {
				known[e.Detail] = e.Elsewhere
			}
		}
		if len(known) < 9 {
			t.Errorf("%s: %d paths were asked for, want 9 and more: %v\n%s", site, len(known), known, d.stderr)
		}
		for path, elsewhere := range known {
			if !elsewhere {
				t.Errorf("%s: the visitor would be banned for %s", site, path)
			}
		}
	}
}
