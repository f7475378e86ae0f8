package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func cmdSignIn(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(patience); !strings.Contains(ts.ReadFile("out"), "accounts to sign in with"); {
		if time.Now().After(deadline) {
			ts.Fatalf("there are no accounts: %s", ts.ReadFile("log"))
		}
		time.Sleep(5 * time.Millisecond) // a file has nothing to wait on
	}
	body, err := os.ReadFile(ts.MkAbs("state/accounts/" + args[0] + ".json"))
	ts.Check(err)
	var res *http.Response
	for until := time.Now().Add(time.Minute); ; { // a machine that is busy says so
		res, err = client(ts).Post(ts.Getenv("URL")+"/api/auth/login", "application/json", bytes.NewReader(body))
		ts.Check(err)
		defer res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || time.Now().After(until) {
			break
		}
		time.Sleep(time.Second)
	}
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != http.StatusOK || got.Token == "" {
		ts.Fatalf("the sign-in of %s was answered %s, %v", args[0], res.Status, err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".token"), []byte(got.Token), 0o600))
}
