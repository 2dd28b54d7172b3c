package target

import (
	"strings"
)

// Provider is who runs a cloud account: the word before the colon of its text.
const (
	// AWS accounts are 12 digits (docs.aws.amazon.com/accounts/latest/reference, account identifiers).
	AWS = "aws"
	// Azure subscriptions are UUIDs (learn.microsoft.com/azure/azure-portal, subscription id).
	Azure = "azure"
	// Google projects have 6 to 30 lower-case letters, digits and hyphens, begin with a letter and do not end with a hyphen
	// (cloud.google.com/resource-manager/docs/creating-managing-projects, project id).
	Google = "google"
)

const (
	awsDigits          = 12
	minProject         = 6
	maxProject         = 30
	uuidHyphens        = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	hexDigits          = "0123456789abcdef"
	digits             = "0123456789"
	projectCharacters  = "abcdefghijklmnopqrstuvwxyz0123456789-"
	lowerCaseCharacter = "abcdefghijklmnopqrstuvwxyz"
)

// CloudParts takes the value of a cloud account apart: "aws:123456789012" is "aws" and "123456789012". ok is false for what is
// no cloud account.
func CloudParts(value string) (provider, account string, ok bool) {
	provider, account, found := strings.Cut(value, ":")
	return provider, account, found && isAccount(provider, account)
}

// parseCloud reads "aws:<12 digits>", "azure:<subscription>" and "google:<project>". A host may be called aws and have a port:
// what is no account goes on to be read as host:port.
func parseCloud(text string) (Target, bool) {
	value := strings.ToLower(text)
	if _, _, ok := CloudParts(value); !ok {
		return Target{}, false
	}
	return Target{Kind: CloudAccount, Value: value}, true
}

func isAccount(provider, account string) bool {
	switch provider {
	case AWS:
		return len(account) == awsDigits && strings.Trim(account, digits) == ""
	case Azure:
		return isUUID(account)
	case Google:
		return len(account) >= minProject && len(account) <= maxProject && strings.Trim(account, projectCharacters) == "" &&
			strings.Contains(lowerCaseCharacter, account[:1]) && account[len(account)-1] != '-'
	}
	return false
}

func isUUID(text string) bool {
	if len(text) != len(uuidHyphens) {
		return false
	}
	for i := range len(text) {
		if (uuidHyphens[i] == '-') != (text[i] == '-') || text[i] != '-' && strings.IndexByte(hexDigits, text[i]) < 0 {
			return false
		}
	}
	return true
}
