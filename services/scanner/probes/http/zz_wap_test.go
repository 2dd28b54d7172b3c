package http
import ("testing";"time";"fmt";"strings"
 wappalyzer "github.com/projectdiscovery/wappalyzergo"
 "runtime")
func TestWap(t *testing.T){
 var m runtime.MemStats; runtime.GC(); runtime.ReadMemStats(&m); h0:=m.HeapAlloc
 t0:=time.Now(); w,err:=wappalyzer.New(); if err!=nil{t.Fatal(err)}
 fmt.Println("new",time.Since(t0)); runtime.GC(); runtime.ReadMemStats(&m); fmt.Println("heap MB",(m.HeapAlloc-h0)>>20)
 for _,n:=range []int{10,100,256,1024}{
 body:=[]byte("<html><head><meta name=generator content='WordPress 6.4.2'><script src=/wp-includes/js/jquery/jquery.min.js?ver=3.7.1></script></head><body>"+strings.Repeat("<p>Hello world lorem ipsum <a href=/x>y</a></p>",n*1024/48)+"</body></html>")
 t0=time.Now(); r:=w.FingerprintWithInfo(map[string][]string{"Server":{"nginx/1.18.0"},"X-Powered-By":{"PHP/8.1.2"},"Set-Cookie":{"PHPSESSID=x"}},body)
 fmt.Println(n,"KiB",time.Since(t0)); for k,v:=range r{fmt.Println("  ",k,v.CPE,v.Categories)}
 }
}
