// A Kubernetes API server for tests: kube-apiserver itself with an etcd of its own in the same process. Nothing else of a
// cluster runs: it keeps service accounts and issues their tokens (TokenRequest), which is what Assentry's tests need.
//
// Usage: kube-apiserver-for-tests ETCD_URL FOLDER [FLAG OF kube-apiserver …]
package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func store(client *url.URL, folder string) (*embed.Etcd, error) {
	config := embed.NewConfig()
	config.Dir = filepath.Join(folder, "etcd")
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	config.ListenClientUrls = []url.URL{*client}
	config.AdvertiseClientUrls = []url.URL{*client}
	peers := url.URL{Scheme: "unix", Host: "localhost:0"}
	config.ListenPeerUrls = []url.URL{peers}
	config.AdvertisePeerUrls = []url.URL{peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	return embed.StartEtcd(config)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: kube-apiserver-for-tests ETCD_URL FOLDER [FLAG …]")
		os.Exit(2)
	}
	client, err := url.Parse(os.Args[1])
	if err == nil {
		err = os.Chdir(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	etcd, err := store(client, os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-etcd.Server.ReadyNotify()
	command := app.NewAPIServerCommand()
	command.SetArgs(append([]string{"--etcd-servers=" + client.String()}, os.Args[3:]...))
	code := cli.Run(command)
	etcd.Close()
	os.Exit(code)
}
