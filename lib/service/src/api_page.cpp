// SPDX-License-Identifier: Apache-2.0
// The page of the API: one HTML text with its style, its script and the document.

#include <string_view>

#include "api_page.hpp"

namespace belay::service::detail {

namespace {

constexpr std::string_view before = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>API</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
details{border:1px solid #ccc;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}.verb{display:inline-block;min-width:4.5rem;font-weight:bold;text-transform:uppercase}
code,pre{font:13px/1.4 ui-monospace,monospace}pre{background:#f5f5f5;padding:.6rem;overflow:auto}
.old{text-decoration:line-through}table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}
</style></head><body><main></main>
<script type="application/json" id="api">)html";

constexpr std::string_view after = R"html(</script>
<script>
const api=JSON.parse(document.getElementById("api").textContent);
const make=(tag,text,...inside)=>{const e=document.createElement(tag);if(text)e.textContent=text;e.append(...inside);return e};
const short=s=>!s?"":s.$ref?s.$ref.split("/").pop():s.anyOf?s.anyOf.map(short).join(" or "):s.type==="array"?"["+short(s.items)+"]":
 (s.format||s.type||"")+Object.entries(s).filter(([k])=>!["type","format"].includes(k)).map(([k,v])=>" "+k+"="+JSON.stringify(v)).join("");
const first=c=>c?Object.values(c)[0].schema:null;
const main=document.querySelector("main");document.title=api.info.title;
main.append(make("h1",api.info.title+" "+api.info.version));
if(api.info.description)main.append(make("p",api.info.description));
const groups=new Map();
for(const[path,operations]of Object.entries(api.paths))for(const[verb,o]of Object.entries(operations)){
 const tag=(o.tags||[""])[0];if(!groups.has(tag))groups.set(tag,[]);groups.get(tag).push([path,verb,o]);}
for(const[tag,all]of groups){if(tag)main.append(make("h2",tag));
 for(const[path,verb,o]of all){
  const verbText=make("span",verb);verbText.className="verb";
  const pathText=make("code",path);if(o.deprecated)pathText.className="old";
  const box=make("details","",make("summary","",verbText,pathText," ",o.summary||""));
  if(o.description)box.append(make("p",o.description));
  if(o.parameters){const rows=o.parameters.map(p=>make("tr","",make("td","",make("code",p.name)),make("td",p.in+(p.required?", required":"")),
   make("td",short(p.schema)),make("td",p.schema.description||"")));box.append(make("h4","Parameters"),make("table","",...rows));}
  if(o.requestBody)box.append(make("h4","Body"),make("pre",short(first(o.requestBody.content))));
  box.append(make("h4","Responses"),make("table","",...Object.entries(o.responses).map(([s,r])=>
   make("tr","",make("td","",make("code",s)),make("td",r.description),make("td",short(first(r.content)))))));
  main.append(box);}}
main.append(make("h2","Types"));
for(const[name,schema]of Object.entries(api.components.schemas)){
 main.append(make("details","",make("summary","",make("code",name)),make("pre",JSON.stringify(schema,null,2))));}
</script></body></html>
)html";

}  // namespace

http::response api_page(const std::string& document) {
  http::response made;
  made.headers.add("Content-Type", "text/html; charset=utf-8");
  made.headers.add("Content-Security-Policy",
                   "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'");
  made.headers.add("X-Content-Type-Options", "nosniff");
  made.body = before;
  for (const char c : document) {
    // What could end the script element; within JSON it can only be in a string.
    if (c == '<') {
      made.body += "\\u003c";
    } else {
      made.body += c;
    }
  }
  made.body += after;
  return made;
}

}  // namespace belay::service::detail
