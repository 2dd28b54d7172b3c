package google

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

const (
	// scope is what Cloud Asset Inventory wants (cloud.google.com/asset-inventory/docs/reference/rest/v1/assets/list, authorization
	// scopes). What the account may do with it is for its roles to say: it should have readers' only.
	scope = "https://www.googleapis.com/auth/cloud-platform"
	// assertionLasts is how long an assertion is good for; Google allows an hour.
	assertionLasts = 5 * time.Minute
	// actLasts is how long a token of another account lasts; Google allows an hour.
	actLasts = 15 * time.Minute
)

// credential is a service account with a key.
type credential struct {
	email, keyID string
	key          *rsa.PrivateKey
}

// parseCredential reads the file of a service account's key (cloud.google.com/iam/docs/keys-create-delete). Its token_uri and the like
// are passed over: whoever wrote them there would be sent what is signed. The error shows nothing of it.
func parseCredential(text []byte) (*credential, error) {
	var file struct {
		Type  string `json:"type"`
		Email string `json:"client_email"`
		Key   string `json:"private_key"`
		KeyID string `json:"private_key_id"`
	}
	switch {
	case json.Unmarshal(text, &file) != nil:
		return nil, badCredential("it is no JSON object with texts")
	case file.Type != "service_account":
		return nil, badCredential(`its "type" is not service_account`)
	case !emailForm(file.Email):
		return nil, badCredential(`"client_email" is no service account's address`)
	case len(file.KeyID) > 128:
		return nil, badCredential(`"private_key_id" is none`)
	}
	key, err := rest.ParseKey([]byte(file.Key))
	if err != nil {
		return nil, err
	}
	return &credential{email: file.Email, keyID: file.KeyID, key: key}, nil
}

func badCredential(why string) error {
	return fault.New(fault.FailedPrecondition, "the stored credential for google cannot be used: %s; store the key file of a service account", why)
}

// emailForm keeps an account's address from being more than a part of a path.
func emailForm(text string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '@' && r != ':'
	}
	return len(text) <= 253 && strings.HasSuffix(text, ".gserviceaccount.com") && strings.Count(text, "@") == 1 && !strings.ContainsFunc(text, odd)
}

// exchange gets a token for a signed assertion (RFC 7523 section 2.1; developers.google.com/identity/protocols/oauth2/service-account).
func (c *credential) exchange(ctx context.Context, client *rest.Client, at origins) (rest.Secret, time.Duration, error) {
	now := time.Now()
	assertion, err := rest.Sign(c.key, rest.RS256, map[string]any{"kid": c.keyID}, map[string]any{
		"iss": c.email, "scope": scope, "aud": published.token + "/token", "iat": now.Unix(), "exp": now.Add(assertionLasts).Unix(),
	})
	if err != nil {
		return "", 0, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {string(assertion)}}
	token, lasts, err := rest.Exchange(ctx, client, at.token+"/token", form)
	if err != nil {
		return "", 0, rest.Fault(err, "sign in to google as "+c.email)
	}
	return token, lasts, nil
}

// actAs gets a token of another service account, which has to permit it to ours by the role Service Account Token Creator
// (cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken).
func actAs(ctx context.Context, client *rest.Client, at origins, email string) (rest.Secret, time.Duration, error) {
	body, err := client.Do(ctx, rest.Request{
		Method: http.MethodPost, URL: at.act + "/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken", ContentType: "application/json",
		Body: []byte(`{"scope":["` + scope + `"],"lifetime":"900s"}`),
	})
	if err != nil {
		return "", 0, rest.Fault(err, "act as "+email+" at google")
	}
	token, err := parseActAs(body)
	return token, actLasts, err
}

// parseActAs reads the answer of generateAccessToken.
func parseActAs(body []byte) (rest.Secret, error) {
	var answer struct {
		Token string `json:"accessToken"`
	}
	if json.Unmarshal(body, &answer) != nil || !rest.Bearer(answer.Token) {
		return "", fault.New(fault.Unavailable, "act as another account at google: the answer has no token in it")
	}
	return rest.Secret(answer.Token), nil
}
