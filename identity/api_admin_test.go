package identity_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

var operator = identity.Actor{ID: "os:root", Operator: true}

func TestAdministration(t *testing.T) {
	s := openSite(t, false)
	root := s.admin("127.0.0.1", "root@example.org", "admin")
	user := s.member("127.0.0.2", ada)
	id := user.id()

	for _, path := range []string{"/api/admin/users", "/api/admin/users/" + id} {
		s.browse("127.0.0.3").must(401, "GET", path, nil)
		user.must(403, "GET", path, nil)
	}
	user.must(403, "POST", "/api/admin/users/"+id+"/lock", nil)
	user.must(403, "PUT", "/api/admin/users/"+id+"/roles", fields{"roles": []string{"admin"}})
	user.must(403, "POST", "/api/admin/invites", fields{"email": "x@example.org"})

	r := root.must(200, "GET", "/api/admin/users/"+id, nil)
	if r.json["email"] != ada || strings.Contains(r.body, "argon2") || strings.Contains(r.body, "password") {
		t.Errorf("the account: %v", r)
	}
	root.must(404, "GET", "/api/admin/users/nonsense", nil)
	root.must(404, "POST", "/api/admin/users/nonsense/lock", nil)
	root.must(404, "DELETE", "/api/admin/users/nonsense/sessions", nil)

	r = root.must(200, "POST", "/api/admin/users/"+id+"/lock", nil)
	if r.json["locked"] == nil {
		t.Errorf("locked: %v", r)
	}
	user.must(401, "GET", "/api/me", nil) // at once
	user.token = ""
	user.must(401, "POST", "/api/auth/refresh", nil)
	if r := user.login(ada, password); r.status != 401 {
		t.Errorf("a locked account: %v", r)
	}
	root.must(200, "POST", "/api/admin/users/"+id+"/unlock", nil)
	user.enter(ada, password)
	root.must(204, "DELETE", "/api/admin/users/"+id+"/sessions", nil)
	user.must(401, "GET", "/api/me", nil)
	user.enter(ada, password)

	// A role that is given counts from the next refresh, one that is taken at once.
	root.must(200, "PUT", "/api/admin/users/"+id+"/roles", fields{"roles": []string{"user", "auditor", "user"}})
	if r := user.must(200, "GET", "/api/me", nil); fmt.Sprint(r.json["roles"]) != "[auditor user]" {
		t.Errorf("me: %v", r)
	}
	root.must(200, "PUT", "/api/admin/users/"+id+"/roles", fields{"roles": []string{}})
	user.must(401, "GET", "/notes", nil)
	r = root.must(400, "PUT", "/api/admin/users/"+id+"/roles", fields{"roles": []string{"user", "king"}})
	if !slices.Equal(r.codes(), []string{"/roles/1 unknown"}) {
		t.Errorf("an unknown role: %v", r)
	}
	for _, kind := range []audit.Kind{audit.AccountLocked, audit.AccountUnlocked} {
		if s.recorded(kind, audit.Success) != 1 {
			t.Errorf("%d events %s", s.recorded(kind, audit.Success), kind)
		}
	}
	if told := s.told(); !strings.Contains(told, "account "+id) {
		t.Error("no event names the account")
	}
}

func TestListUsersInPages(t *testing.T) {
	s := openSite(t, false)
	root := s.admin("127.0.0.1", "root@example.org", "admin")
	want := []string{"root@example.org"}
	for i := range 6 {
		s.clock.set(s.clock.now().Add(time.Second))
		email := fmt.Sprintf("user%d@example.org", 9-i)
		root.must(201, "POST", "/api/auth/register", fields{"name": "U", "email": email, "password": password})
		want = append(want, email)
	}
	var got []string
	after, pages := "", 0
	for {
		r := root.must(200, "GET", "/api/admin/users?limit=3&after="+after, nil)
		for _, u := range r.json["users"].([]any) {
			got = append(got, u.(map[string]any)["email"].(string))
		}
		pages++
		next, more := r.json["next"].(string)
		if !more {
			break
		}
		after = next
	}
	if !slices.Equal(got, want) || pages != 3 { // oldest first
		t.Errorf("%v in %d pages, want %v", got, pages, want)
	}
	r := root.must(200, "GET", "/api/admin/users?email=USER5@example.org", nil)
	if list := r.json["users"].([]any); len(list) != 1 {
		t.Errorf("by address: %v", r)
	}
	for _, bad := range []string{"limit=0", "limit=201", "limit=x", "page=2", "limit=1&limit=2", "email=x"} {
		root.must(400, "GET", "/api/admin/users?"+bad, nil)
	}
}

// Whoever manages accounts cannot give more than they have, cannot touch those
// above them, and cannot leave the site without anybody who manages.
func TestTrapManagersCannotRise(t *testing.T) {
	s := openSite(t, false)
	root := s.admin("127.0.0.1", "root@example.org", "admin")
	support := s.admin("127.0.0.2", "support@example.org", "support")
	user := s.member("127.0.0.3", ada)
	roles := func(b *browser, id string, roles ...string) reply {
		return b.ask("PUT", "/api/admin/users/"+id+"/roles", fields{"roles": append([]string{}, roles...)})
	}
	rootID, supportID, userID := root.id(), support.id(), user.id()
	for name, r := range map[string]reply{
		"herself admin":          roles(support, supportID, "support", "admin"),
		"somebody admin":         roles(support, userID, "user", "admin"),
		"auditor, not having it": roles(support, userID, "user", "auditor"), // it grants no permission, but routes may name it
		"root's role taken":      roles(support, rootID),
		"root locked":            support.ask("POST", "/api/admin/users/"+rootID+"/lock", nil),
		"root signed out":        support.ask("DELETE", "/api/admin/users/"+rootID+"/sessions", nil),
		"an admin invited":       support.ask("POST", "/api/admin/invites", fields{"email": "x@example.org", "roles": []string{"admin"}}),
	} {
		if r.status != 403 {
			t.Errorf("%s: %v", name, r)
		}
	}
	for name, r := range map[string]reply{
		"give her own role":     roles(support, userID, "user", "support"),
		"take it":               roles(root, userID, "user"),
		"take the first role":   roles(support, userID),
		"give the first role":   roles(support, userID, "user"),
		"lock an ordinary user": support.ask("POST", "/api/admin/users/"+userID+"/lock", nil),
	} {
		if r.status != 200 {
			t.Errorf("%s: %v", name, r)
		}
	}
	// Support may go, and then root is the last one.
	if r := roles(root, rootID, "user"); r.status != 200 {
		t.Fatalf("root, who is not the last: %v", r)
	}
	last := support
	last.must(200, "GET", "/api/me", nil)
	for name, r := range map[string]reply{
		"lock":   last.ask("POST", "/api/admin/users/"+supportID+"/lock", nil),
		"demote": roles(last, supportID, "user"),
		"delete": last.ask("DELETE", "/api/me", fields{"password": password}),
	} {
		if r.status != 409 || !strings.Contains(r.body, "last account that can manage") {
			t.Errorf("%s of the last one: %v", name, r)
		}
	}
	// A token of before is not enough: the roles are read anew.
	if r := roles(root, supportID); r.status != 401 && r.status != 403 {
		t.Errorf("root after the demotion: %v", r)
	}
	var refused *identity.Refusal
	if _, err := s.svc.Accounts().Lock(t.Context(), identity.Actor{ID: rootID}, userID); !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("root, who manages no more, locks a user: %v", err)
	}
}

// Two who demote each other at once: one of them remains. Their tokens have been
// looked at already, so that only what is in the store can tell.
func TestTrapAdminsDemoteEachOther(t *testing.T) {
	s := openSite(t, false)
	accounts := s.svc.Accounts()
	var ids [2]string
	for i := range ids {
		a, err := accounts.Create(t.Context(), operator, identity.NewAccount{Email: fmt.Sprintf("admin%d@example.org", i), Password: password})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = a.ID
	}
	for range 10 {
		for _, id := range ids {
			if _, err := accounts.SetRoles(t.Context(), operator, id, []string{"admin"}); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for i, id := range ids {
			wg.Go(func() {
				_, err := accounts.SetRoles(t.Context(), identity.Actor{ID: id}, ids[1-i], nil)
				var refused *identity.Refusal
				if err != nil && !errors.As(err, &refused) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		left := 0
		for _, id := range ids {
			if a, err := accounts.Find(t.Context(), id); err == nil {
				left += len(a.Roles)
			}
		}
		if left != 1 {
			t.Fatalf("%d admins are left of 2", left)
		}
	}
}

const inviteRules = `
site: example.com
app:
  limits: {global: {requests: 100000, per: 15m}, auth: {requests: 100000, per: 15m, paths: [/api/auth/]}}
identity:
  registration: invite
  default_roles: [user]
  mail: {folder: mails, link: "https://app.example.com/account"}
  roles: {admin: ["*"], user: ["notes:read"], auditor: []}
`

func TestInvitations(t *testing.T) {
	s := openSiteOf(t, inviteRules)
	root := s.admin("127.0.0.1", "root@example.org", "admin")
	b := s.browse("127.0.0.2")
	register := func(email, invite string) reply {
		f := fields{"name": "Ada", "email": email, "password": password}
		if invite != "" {
			f["invite"] = invite
		}
		return b.ask("POST", "/api/auth/register", f)
	}
	if r := register(ada, ""); r.status != 400 || !slices.Equal(r.codes(), []string{"/invite required"}) {
		t.Errorf("without an invitation: %v", r)
	}
	root.must(409, "POST", "/api/admin/invites", fields{"email": "root@example.org"})
	root.must(400, "POST", "/api/admin/invites", fields{"email": ada, "roles": []string{"king"}})
	r := root.must(201, "POST", "/api/admin/invites", fields{"email": ada, "roles": []string{"auditor"}})
	root.must(201, "POST", "/api/admin/invites", fields{"email": "bob@example.org"})
	secrets := map[string]string{}
	for range 2 {
		m := <-s.mailer.sent
		secrets[m.To] = mailedSecret.FindStringSubmatch(m.Text)[2]
	}
	if strings.Contains(r.body, secrets[ada]) {
		t.Error("the answer holds the secret")
	}
	for name, r := range map[string]reply{
		"another address":    register("eve@example.org", secrets[ada]),
		"bob's for ada":      register(ada, secrets["bob@example.org"]),
		"no such invitation": register(ada, strings.Repeat("A", 43)),
	} {
		if r.status != 400 || !slices.Equal(r.codes(), []string{"/invite invalid"}) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := register(ada, secrets[ada]); r.status != 201 || r.json["next"] != "login" {
		t.Fatalf("with the invitation: %v", r)
	}
	b.enter(ada, password) // the invitation has proved the address
	if me := b.must(200, "GET", "/api/me", nil); fmt.Sprint(me.json["roles"]) != "[auditor]" {
		t.Errorf("me: %v", me)
	}
	b.token = ""
	if r := register("eve@example.org", secrets[ada]); r.status != 400 {
		t.Errorf("the invitation again: %v", r)
	}
	s.clock.set(s.clock.now().Add(8 * 24 * time.Hour))
	if r := register("bob@example.org", secrets["bob@example.org"]); r.status != 400 {
		t.Errorf("after a week: %v", r)
	}
}

// An invitation that was a mistake is listed, without its secret, and taken back.
func TestInvitationsAreWithdrawn(t *testing.T) {
	s := openSiteOf(t, inviteRules)
	root := s.admin("127.0.0.1", "root@example.org", "admin")
	user := s.admin("127.0.0.2", "user@example.org", "user")
	b := s.browse("127.0.0.3")
	root.must(201, "POST", "/api/admin/invites", fields{"email": ada, "roles": []string{"auditor"}})
	secret := s.secret(ada, "You are invited")
	root.must(201, "POST", "/api/admin/invites", fields{"email": "bob@example.org"})

	r := root.must(200, "GET", "/api/admin/invites", nil)
	if got := strings.Count(r.body, `"expires"`); got != 2 || !strings.Contains(r.body, `"auditor"`) || strings.Contains(r.body, secret[:43]) {
		t.Errorf("the list: %v", r)
	}
	r = root.must(200, "GET", "/api/admin/invites?limit=1", nil)
	if r.json["next"] != ada || strings.Contains(r.body, "bob") {
		t.Errorf("the first page: %v", r)
	}
	if r = root.must(200, "GET", "/api/admin/invites?limit=1&after="+ada, nil); r.json["next"] != nil || !strings.Contains(r.body, "bob@example.org") {
		t.Errorf("the second page: %v", r)
	}
	for _, method := range []string{"GET", "DELETE"} {
		b.must(401, method, "/api/admin/invites?email="+ada, nil)
		user.must(403, method, "/api/admin/invites?email="+ada, nil)
	}
	root.must(400, "DELETE", "/api/admin/invites", nil)
	root.must(400, "DELETE", "/api/admin/invites?email=nobody", nil)
	root.must(204, "DELETE", "/api/admin/invites?email=Ada%40Example.org", nil)
	root.must(404, "DELETE", "/api/admin/invites?email="+ada, nil)
	if n := s.recorded(audit.InviteWithdrawn, audit.Success); n != 1 {
		t.Errorf("%d events", n)
	}
	if r := b.ask("POST", "/api/auth/register", fields{"name": "Ada", "email": ada, "password": password, "invite": secret}); r.status != 400 {
		t.Errorf("with what was withdrawn: %v", r)
	}
	if r = root.must(200, "GET", "/api/admin/invites", nil); strings.Contains(r.body, ada) || !strings.Contains(r.body, "bob@example.org") {
		t.Errorf("what is left: %v", r)
	}
	// Who may not manage any more takes nothing back, whatever the token says.
	if err := s.svc.Accounts().Withdraw(t.Context(), identity.Actor{ID: user.id()}, "bob@example.org"); err == nil {
		t.Error("a user withdrew an invitation")
	}
}

func TestClosedRegistration(t *testing.T) {
	s := openSiteOf(t, strings.Replace(fmt.Sprintf(siteRules, false), "registration: open", "registration: closed", 1))
	s.browse("127.0.0.1").must(403, "POST", "/api/auth/register", fields{"name": "Ada", "email": ada, "password": password})
	root := s.admin("127.0.0.2", "root@example.org", "admin")
	root.must(409, "POST", "/api/admin/invites", fields{"email": ada})
}

// What another process changes in the store, as the command line does, a server
// that runs obeys within a second.
func TestLockByAnotherProcess(t *testing.T) {
	s := openSite(t, false)
	b := s.member("127.0.0.1", ada)
	others, err := sqlitestore.Open(t.Context(), s.file)
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	accounts := identity.NewAccounts(s.policy, others, nil, s.clock.now)
	id := b.id()
	quickest := time.Hour
	for try := 0; try < 10 && quickest > time.Second; try++ { // other load makes it slower only
		if _, err := accounts.Lock(t.Context(), operator, id); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for b.ask("GET", "/notes", nil).status != 401 {
			if time.Since(began) > 20*time.Second {
				t.Fatal("after 20 seconds the token is still good")
			}
		}
		quickest = min(quickest, time.Since(began))
		if _, err := accounts.Unlock(t.Context(), operator, id); err != nil {
			t.Fatal(err)
		}
		b.enter(ada, password)
	}
	if quickest > time.Second {
		t.Errorf("the token was good for %v", quickest)
	}
}

func TestReload(t *testing.T) {
	s := openSite(t, false)
	b := s.member("127.0.0.1", ada)
	rules := fmt.Sprintf(siteRules, false)
	for name, p := range map[string]string{
		"off":     "site: example.com\n",
		"issuer":  strings.Replace(rules, "registration: open", "registration: open\n  issuer: https://other.example.com", 1),
		"store":   rules + "store: sqlite:other.db\n",
		"keys":    strings.Replace(rules, "registration: open", "registration: open\n  keys: other.json", 1),
		"mail":    strings.Replace(rules, "folder: mails", "folder: others", 1),
		"no site": strings.Replace(rules, "site: example.com", "site: other.example.com", 1), // and so the issuer
	} {
		if err := s.svc.Reload(sitePolicy(t, p)); err == nil {
			t.Errorf("%s: reloaded", name)
		}
	}
	b.must(200, "GET", "/api/me", nil)
	next := strings.Replace(rules, "registration: open", "registration: closed\n  access_token: 5m", 1)
	next = strings.Replace(next, `user: ["notes:read", "notes:write"]`, `user: ["notes:read"]`, 1)
	if err := s.svc.Reload(sitePolicy(t, next)); err != nil {
		t.Fatal(err)
	}
	if me := b.must(200, "GET", "/api/me", nil); fmt.Sprint(me.json["permissions"]) != "[notes:read]" {
		t.Errorf("me: %v", me)
	}
	b.must(403, "POST", "/api/auth/register", fields{"name": "Eve", "email": "eve@example.org", "password": password})
	if r := b.login(ada, password); r.json["expires_in"] != 300.0 {
		t.Errorf("login: %v", r)
	}
}

func TestServiceWrongUse(t *testing.T) {
	st, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	keys, err := identity.OpenKeyRing(filepath.Join(t.TempDir(), "keys", "k.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // where the policy's key file is made
	good := sitePolicy(t, fmt.Sprintf(siteRules, true))
	mailer := &siteMailer{sent: make(chan identity.Mail, 1)}
	for name, try := range map[string]func() (*identity.Service, error){
		"no policy": func() (*identity.Service, error) { return identity.New(nil, identity.Deps{Store: st, Keys: keys}) },
		"no accounts": func() (*identity.Service, error) {
			return identity.New(sitePolicy(t, "site: example.com\n"), identity.Deps{Store: st, Keys: keys, Mail: mailer})
		},
		"no store": func() (*identity.Service, error) { return identity.New(good, identity.Deps{Keys: keys, Mail: mailer}) },
		"no mail":  func() (*identity.Service, error) { return identity.New(good, identity.Deps{Store: st, Keys: keys}) },
	} {
		if s, err := try(); err == nil || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, err := identity.New(good, identity.Deps{Store: st, Keys: keys, Mail: mailer}); err != nil {
		t.Error(err)
	}
	if _, err := identity.New(good, identity.Deps{Store: st, Mail: mailer}); err != nil {
		t.Errorf("without keys: %v", err)
	}
	if _, err := os.Stat(good.File(good.Identity.Keys)); err != nil {
		t.Errorf("the policy's key file was not made: %v", err)
	}
}

func TestAccountsRefuse(t *testing.T) {
	s := openSite(t, false)
	a := s.svc.Accounts()
	ctx := context.Background()
	good := identity.NewAccount{Email: ada, Password: password, Roles: []string{"user"}}
	if _, err := a.Create(ctx, operator, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*identity.NewAccount){
		"taken":        func(*identity.NewAccount) {},
		"address":      func(n *identity.NewAccount) { n.Email = "x" },
		"name":         func(n *identity.NewAccount) { n.Email, n.Name = "b@example.org", "\u202e" },
		"unknown role": func(n *identity.NewAccount) { n.Email, n.Roles = "b@example.org", []string{"king"} },
		"password":     func(n *identity.NewAccount) { n.Email, n.Password = "b@example.org", "short" },
	} {
		n := good
		change(&n)
		if _, err := a.Create(ctx, operator, n); err == nil || strings.Contains(err.Error(), "short") && name == "password" && strings.Contains(err.Error(), "\"short\"") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if acc, err := a.Find(ctx, " ADA@example.org"); err != nil || acc.Name != "ada" || acc.Verified.IsZero() {
		t.Errorf("found %+v, %v", acc, err)
	}
}
